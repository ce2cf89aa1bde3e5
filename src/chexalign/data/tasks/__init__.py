"""Collections of questions about images: asked by their owners, or made here of labels and boxes."""
