"""Two renderings of the same blocks: markdown for a repository's page, and one HTML file that needs no other."""
