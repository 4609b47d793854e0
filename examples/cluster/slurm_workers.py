"""Denoise one large recording on SLURM jobs that are started and ended as needed (dask-jobqueue).

Run it on a node that may submit jobs; recording, model and result are on a disk that all nodes
share. If it is interrupted, run it again: it continues.
"""

from dask_jobqueue import SLURMCluster

import napari_n2n

if __name__ == "__main__":
    # One process for each core: every shard is computed with one thread.
    with SLURMCluster(cores=4, processes=4, memory="16GB", walltime="02:00:00") as cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=20)
        result = napari_n2n.denoise(
            "cells.n2n",
            "movie.ome.zarr",
            out="clean.ome.zarr",
            scheduler=cluster.scheduler_address,
            memory=2 * 10**9,  # bytes for each worker
            resume=True,
        )
    print(f"saved {result}")
