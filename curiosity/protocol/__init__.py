"""The pure rules of the network: values in, a value or an error out, no input or output."""
