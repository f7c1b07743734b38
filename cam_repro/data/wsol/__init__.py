"""Images with the metadata of Choe et al.: CUB and CUBV2, ImageNetV2, OpenImages30k."""
