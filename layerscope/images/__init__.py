"""Images from a folder. Independent of models: an image processor makes their pixels."""
