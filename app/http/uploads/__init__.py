"""Files over HTTP: received, labelled while they are read, and answered row by row."""
