// Train on two recordings, and denoise every TIFF in raw/ into clean/:
//     nextflow run denoise.nf --a a.tif --b b.tif --raw 'raw/*.tif' --results clean

params.a = 'a.tif'
params.b = 'b.tif'
params.raw = 'raw/*.tif'
params.results = 'clean'

process TRAIN {
    cpus 4
    memory '4 GB'
    // 143: the scheduler has ended the job
    errorStrategy { task.exitStatus == 143 ? 'retry' : 'finish' }
    maxRetries 2

    input:
    path a
    path b

    output:
    path 'cells.n2n'

    script:
    """
    napari-n2n train $a $b -o cells.n2n
    """
}

process DENOISE {
    cpus 4
    memory '4 GB'
    errorStrategy { task.exitStatus == 143 ? 'retry' : 'finish' }
    maxRetries 2
    publishDir params.results, mode: 'copy'

    input:
    path model
    path image, stageAs: 'raw/*'

    output:
    path "${image.name}"

    script:
    """
    napari-n2n denoise $model $image -o ${image.name} --memory 3GB
    """
}

workflow {
    model = TRAIN(file(params.a), file(params.b))
    DENOISE(model, channel.fromPath(params.raw))
}
