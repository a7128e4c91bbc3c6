"""A report on scored files: one self-contained page of HTML. Reads tables by ``app.files``, and knows no HTTP."""
