//! What objects of metrics.k8s.io are turned into: a table, and their metadata alone (`docs/contract.md#tables`).

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::ListMeta;
use super::usage::{Single, UsageMeta, UsageObject};
use crate::encode::Object;
use crate::encode::protobuf::{Encode, Message};
use crate::go_duration;
use crate::negotiate::MetaVersion;
use crate::query::QueryParameters;
use crate::status::ApiError;

/// Objects as a `meta.k8s.io` Table: a row for each, pods with the sum of their containers.
#[derive(Debug)]
pub struct Table<'a, T> {
    objects: &'a [T],
    version: MetaVersion,
    include: IncludeObject,
}

/// What a row holds besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing: `"object":null`.
    None,
    /// The object's metadata.
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads `?includeObject=`; the metadata when it is not given.
    ///
    /// # Errors
    /// 400 on any other value.
    pub fn of(query: &QueryParameters) -> Result<IncludeObject, ApiError> {
        match query.first("includeObject").unwrap_or_default() {
            "None" => Ok(IncludeObject::None),
            "" | "Metadata" => Ok(IncludeObject::Metadata),
            "Object" => Ok(IncludeObject::Object),
            other => Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

impl<'a, T: UsageObject> Table<'a, T> {
    /// The table of objects.
    pub fn of(objects: &'a [T], version: MetaVersion, include: IncludeObject) -> Table<'a, T> {
        Table { objects, version, include }
    }

    fn row(&self, object: &'a T) -> Row<'a, T> {
        let total = object.total();
        let metadata = object.metadata();
        Row {
            cells: [
                metadata.name.clone(),
                total.cpu.to_string(),
                total.memory.to_string(),
                go_duration::format(object.window()),
            ],
            object: match self.include {
                IncludeObject::None => RowObject::None,
                IncludeObject::Metadata => {
                    RowObject::Metadata(PartialObjectMetadata { metadata, version: self.version })
                }
                IncludeObject::Object => RowObject::Object(Single(object)),
            },
        }
    }
}

impl<T: UsageObject> Serialize for Table<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Upstream takes the columns from the first row: without rows it writes nulls for both.
        let rows = (!self.objects.is_empty()).then_some(());
        let columns = rows.map(|()| {
            [
                Column { name: "Name", format: "name", description: "Name of the resource" },
                Column { name: "cpu", format: "quantity", description: "" },
                Column { name: "memory", format: "quantity", description: "" },
                Column { name: "Window", format: "duration", description: "" },
            ]
        });
        let rows: Option<Vec<Row<'_, T>>> =
            rows.map(|()| self.objects.iter().map(|object| self.row(object)).collect());
        let mut table = serializer.serialize_struct("Table", 5)?;
        table.serialize_field("kind", "Table")?;
        table.serialize_field("apiVersion", self.version.api_version())?;
        table.serialize_field("metadata", &ListMeta {})?;
        table.serialize_field("columnDefinitions", &columns)?;
        table.serialize_field("rows", &rows)?;
        table.end()
    }
}

struct Column {
    name: &'static str,
    format: &'static str,
    description: &'static str,
}

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut column = serializer.serialize_struct("TableColumnDefinition", 5)?;
        column.serialize_field("name", self.name)?;
        column.serialize_field("type", "string")?;
        column.serialize_field("format", self.format)?;
        column.serialize_field("description", self.description)?;
        column.serialize_field("priority", &0)?;
        column.end()
    }
}

#[derive(Serialize)]
#[serde(bound = "T: UsageObject")]
struct Row<'a, T> {
    cells: [String; 4],
    object: RowObject<'a, T>,
}

#[derive(Serialize)]
#[serde(untagged, bound = "T: UsageObject")]
enum RowObject<'a, T> {
    None,
    Metadata(PartialObjectMetadata<'a>),
    Object(Single<'a, T>),
}

/// The metadata of one object, as an object.
#[derive(Debug, Clone, Copy)]
pub struct PartialObjectMetadata<'a> {
    /// The metadata.
    pub metadata: &'a UsageMeta,
    /// The version asked for.
    pub version: MetaVersion,
}

impl Serialize for PartialObjectMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("PartialObjectMetadata", 3)?;
        object.serialize_field("kind", self.kind())?;
        object.serialize_field("apiVersion", self.api_version())?;
        object.serialize_field("metadata", self.metadata)?;
        object.end()
    }
}

impl Object for PartialObjectMetadata<'_> {
    fn api_version(&self) -> &'static str {
        self.version.api_version()
    }

    fn kind(&self) -> &'static str {
        "PartialObjectMetadata"
    }
}

impl Encode for PartialObjectMetadata<'_> {
    fn encode(&self, message: &mut Message) {
        message.message(1, self.metadata);
    }
}

/// The metadata of objects, as a list.
#[derive(Debug)]
pub struct PartialObjectMetadataList<'a, T> {
    /// The objects.
    pub objects: &'a [T],
    /// The version asked for.
    pub version: MetaVersion,
}

impl<'a, T: UsageObject> PartialObjectMetadataList<'a, T> {
    fn items(&self) -> impl Iterator<Item = PartialObjectMetadata<'a>> + use<'a, T> {
        let version = self.version;
        self.objects.iter().map(move |object| PartialObjectMetadata { metadata: object.metadata(), version })
    }
}

impl<T: UsageObject> Serialize for PartialObjectMetadataList<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items: Vec<PartialObjectMetadata<'_>> = self.items().collect();
        let mut list = serializer.serialize_struct("PartialObjectMetadataList", 4)?;
        list.serialize_field("kind", self.kind())?;
        list.serialize_field("apiVersion", self.api_version())?;
        list.serialize_field("metadata", &ListMeta {})?;
        // Upstream collects into a list that is null while nothing is in it.
        list.serialize_field("items", &(!items.is_empty()).then_some(items))?;
        list.end()
    }
}

impl<T: UsageObject> Object for PartialObjectMetadataList<'_, T> {
    fn api_version(&self) -> &'static str {
        self.version.api_version()
    }

    fn kind(&self) -> &'static str {
        "PartialObjectMetadataList"
    }
}

impl<T: UsageObject> Encode for PartialObjectMetadataList<'_, T> {
    fn encode(&self, message: &mut Message) {
        // The older version numbers its fields the other way round.
        let (metadata, items) = match self.version {
            MetaVersion::V1 => (1, 2),
            MetaVersion::V1Beta1 => (2, 1),
        };
        let write_items = |message: &mut Message| {
            for item in self.items() {
                message.message(items, &item);
            }
        };
        if items < metadata {
            write_items(message);
            message.message(metadata, &ListMeta {});
        } else {
            message.message(metadata, &ListMeta {});
            write_items(message);
        }
    }
}
