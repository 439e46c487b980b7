"""What logs say: reading them in one pass and little memory, tallies, comparisons, policy previews, text and HTML."""
