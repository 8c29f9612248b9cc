"""Prepared TFDS sets of given examples, written by TFDS itself."""

from pathlib import Path

import tensorflow_datasets as tfds
from tensorflow_datasets.core.file_adapters import ArrayRecordFileAdapter


def write_set(root: Path, name: str, examples: dict[str, list]) -> Path:
    """Writes a prepared set of given examples, in two files per part."""
    builder = tfds.builder(name, data_dir=root, file_format="array_record")
    folder, features = Path(builder.data_dir), builder.info.features
    folder.mkdir(parents=True)
    splits = []
    for part, items in examples.items():
        records = [
            features.serialize_example(features.encode_example(x)) for x in items
        ]
        template = tfds.core.ShardedFileTemplate(
            dataset_name=name,
            data_dir=folder,
            split=part,
            filetype_suffix="array_record",
        )
        shards = [records[:1], records[1:]]
        split = tfds.core.SplitInfo(
            name=part,
            shard_lengths=[len(shard) for shard in shards],
            num_bytes=sum(map(len, records)),
            filename_template=template,
        )
        for path, shard in zip(split.filepaths, shards, strict=True):
            ArrayRecordFileAdapter.write_examples(path, list(enumerate(shard)))
        splits.append(split)
    builder.info.set_splits(tfds.core.splits.SplitDict(splits))
    builder.info.write_to_directory(folder)
    return folder
