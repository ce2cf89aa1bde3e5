"""CheXagent-2 as native classes: configuration, model, tokenizer, processor and files."""
