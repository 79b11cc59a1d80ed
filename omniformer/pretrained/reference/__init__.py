"""A loaded model behind the reference library's keywords: padded tensors in, padded outputs out."""
