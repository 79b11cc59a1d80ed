"""How published models want their texts and pictures: the files beside their weights as tokenizers of ours."""
