"""What the measurements share: the machine's facts, processor time, and how a result is kept."""
