"""From untrusted bytes to a judgement: decode in a sandbox, embed, search, judge."""
