"""What every speed claim is made with: one command each."""
