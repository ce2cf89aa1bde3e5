"""The items that are nearest to given ones, exactly or through a graph."""
