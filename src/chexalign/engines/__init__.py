"""Where work is done other than in this process: servers, and clusters of machines."""
