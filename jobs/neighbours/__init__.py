"""All pairs within a distance, block by block, by Ray tasks or in this process."""
