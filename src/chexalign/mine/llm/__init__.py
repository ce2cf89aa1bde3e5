"""Wrong answers from a language model behind a server."""
