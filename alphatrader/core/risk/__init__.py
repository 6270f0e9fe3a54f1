"""Risk as pure decisions: the books the limits are measured against, the places under them, each limit, the verdict."""
