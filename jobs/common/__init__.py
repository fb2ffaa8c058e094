"""What every job needs: the console, the Ray session, the sources, the files of an output folder."""
