"""What a finished run says, for people: tables, figures and pictures, and the page that holds them all."""
