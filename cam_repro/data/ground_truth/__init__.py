"""Labels, sizes and boxes without the images, from every form in which people have them."""
