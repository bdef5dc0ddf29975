"""Files in and out: cubes, stellar bases, products, run folders."""
