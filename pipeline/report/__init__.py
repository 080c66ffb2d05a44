"""What does a finished run say, for people? Tables, figures and pictures, and the page that holds them all."""
