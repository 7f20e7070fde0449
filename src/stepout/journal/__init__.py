"""What is known of runs."""
