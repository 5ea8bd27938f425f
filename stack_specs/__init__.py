"""What users write: stack files to API requests. Pure; reading files is passed in."""
