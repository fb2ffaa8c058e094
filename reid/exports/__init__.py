"""Results as the field's other programs read them.

    sightings ─► one species, no doubts ─► places, occasions, effort ─► flanks ─► files of one program

sightings.py     who was seen in which image, who confirmed it; which rows count
deployments.py   deployments as other programs write them
sheets.py        small tables that people write: separators, encodings, dates
effort.py        which camera a sighting belongs to; days that each place was watched
coordinates.py   degrees to metres
identifiers.py   names that other programs can read
flanks.py        left and right are two coats
histories.py     capture histories
meetings.py      which images are one meeting with one animal
history_files.py what lies beside each of them: detectors, individuals, left-outs, README
secr.py, oscr.py, mark.py, rmark.py, camtrapr.py, spacecap.py, multimark.py, matrix.py
                 capture histories as each program reads them
who_is_who.py    the plain table
wildbook.py, insights_ids.py, picture_folders.py
                 Wildbook's bulk import; ids for Wildlife Insights; a folder an individual
camtrap_words.py, camtrap_files.py, camtrap_package.py, camtrap_old.py
                 Camtrap DP: columns, stamps, tags, boxes; a folder or a .zip; a package as it came;
                 version 0.1.6 in the words of version 1
camtrap_back.py, camtrap_media.py, camtrap_events.py
                 a package given back with individuals in it: which row a sighting is of, and events
camtrap_new.py, camtrap_new_rows.py
                 a new package; picture_sizes.py for boxes in pixels
camtrap_descriptor.py
                 datapackage.json of both
camtrap_checks.py mistakes that the standard's schemas do not find
"""
