"""PASCAL VOC 2007 and 2012: several classes an image, boxes, masks."""
