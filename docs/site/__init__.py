"""What the site has beside the pages: navigation, the files they link to, and the reference."""
