"""The only way out: requests are judged, resolved, dialled and cut off here and nowhere else."""
