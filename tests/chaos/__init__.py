"""The chaos run: engine, guard and exchange as processes, faults and kills, and a judge."""
