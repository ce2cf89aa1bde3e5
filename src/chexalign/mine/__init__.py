"""Which questions to learn from: answers with their confidence, and items that are like those answered wrong."""
