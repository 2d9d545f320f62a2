"""Settings: what every program can be told in a file or in the environment, declared once, read by one loader.

One file serves every program, with a section each (`sections`). The programs never import each other, so that the
declarations stand here, where `curiosity config` can write and show those of all.
"""
