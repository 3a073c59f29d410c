"""What is written for people: pictures and the folder of an evaluation; the only home of matplotlib."""
