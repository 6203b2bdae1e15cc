#!/bin/sh
# There is no ZooKeeper to stop.
echo "There is no ZooKeeper to stop: the controllers keep the cluster's metadata" \
    "themselves (process.roles in the server's file)."
