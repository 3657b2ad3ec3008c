"""An evaluation as one HTML page: tables and plots in one file that loads nothing."""
