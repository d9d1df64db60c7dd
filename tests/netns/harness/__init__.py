"""What the system tests are built from: networks, programs in them, and ways to talk to these."""
