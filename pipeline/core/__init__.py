"""What every stage stands on: errors, the command line, files, parallel work, code digests, provenance."""
