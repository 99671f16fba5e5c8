//! Which scalars are keys, and which object each value belongs to.

use yaml::scan::{Kind, Scalar, Stream};

use super::ObjectIdentifier;

/// What a scalar is to the collection around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A mapping's key.
    Key,
    /// A mapping's value, a sequence's item or a whole document.
    Value,
}

/// The objects of a file.
pub(super) struct Objects {
    /// For every event whether it is a key, and its object.
    nodes: Vec<(Node, u32)>,
    objects: Vec<Object>,
}

#[derive(Default)]
struct Object {
    identifier: ObjectIdentifier,
    /// The list in which the object is an item.
    list: Option<u32>,
}

/// An open collection.
struct Frame {
    part: Part,
    object: u32,
    is_mapping: bool,
    /// In a mapping, whether a key comes next.
    at_key: bool,
    /// In a mapping, the part that the next value is.
    next: Part,
}

/// The place of a node in an object, as far as its identity depends on it.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Document,
    Root,
    ApiVersion,
    Kind,
    Metadata,
    Name,
    Namespace,
    Items,
    Other,
}

impl Objects {
    /// Walks through the events once.
    pub(super) fn new(stream: &Stream<'_>) -> Objects {
        let mut objects = Objects {
            nodes: Vec::with_capacity(stream.events.len()),
            objects: vec![Object::default()],
        };
        let mut frames: Vec<Frame> = Vec::new();
        for event in &stream.events {
            let (node, part, object) = match frames.last() {
                None => (Node::Value, Part::Document, last(&objects.objects)),
                Some(frame) if frame.is_mapping && frame.at_key => {
                    (Node::Key, Part::Other, frame.object)
                }
                Some(frame) => (Node::Value, frame.next, frame.object),
            };
            objects.nodes.push((node, object));
            match &event.kind {
                Kind::DocumentStart => {
                    frames.clear();
                    objects.objects.push(Object::default());
                    continue;
                }
                Kind::DocumentEnd => {
                    frames.clear();
                    continue;
                }
                Kind::MappingEnd | Kind::SequenceEnd => {
                    frames.pop();
                    turn(&mut frames, Part::Other);
                    continue;
                }
                Kind::MappingStart(_) => {
                    frames.push(objects.mapping(part, object));
                    continue;
                }
                Kind::SequenceStart(_) => {
                    frames.push(Frame {
                        part,
                        object,
                        is_mapping: false,
                        at_key: false,
                        next: item(part),
                    });
                    continue;
                }
                Kind::Scalar(scalar) => {
                    let next = match (node, frames.last()) {
                        (Node::Key, Some(frame)) => value_part(frame.part, scalar),
                        _ => Part::Other,
                    };
                    if node == Node::Value {
                        objects.note(part, object, scalar);
                    }
                    turn(&mut frames, next);
                }
                Kind::Alias(_) => turn(&mut frames, Part::Other),
            }
        }
        objects
    }

    /// Returns what a scalar is.
    pub(super) fn node(&self, event: usize) -> Node {
        self.nodes.get(event).map_or(Node::Value, |(node, _)| *node)
    }

    /// Returns the object of a value: an item of a `List` if it says its kind, else the document.
    pub(super) fn object(&self, event: usize) -> ObjectIdentifier {
        let object = self.nodes.get(event).map_or(0, |(_, object)| *object);
        let Some(item) = self.objects.get(object as usize) else {
            return ObjectIdentifier::default();
        };
        let list = item.list.and_then(|list| self.objects.get(list as usize));
        match list {
            Some(list) if !is_list(&list.identifier) || item.identifier.kind.is_empty() => {
                list.identifier.clone()
            }
            _ => item.identifier.clone(),
        }
    }

    fn mapping(&mut self, part: Part, object: u32) -> Frame {
        let mut frame = Frame { part, object, is_mapping: true, at_key: true, next: Part::Other };
        if part == Part::Document {
            frame.part = Part::Root;
        } else if part == Part::Root {
            // An item of a list of objects, or of a document that is a sequence.
            self.objects
                .push(Object { identifier: ObjectIdentifier::default(), list: Some(object) });
            frame.object = last(&self.objects);
        }
        frame
    }

    fn note(&mut self, part: Part, object: u32, scalar: &Scalar<'_>) {
        let Some(object) = self.objects.get_mut(object as usize) else { return };
        let identifier = &mut object.identifier;
        let field = match part {
            Part::ApiVersion => &mut identifier.api_version,
            Part::Kind => &mut identifier.kind,
            Part::Name => &mut identifier.name,
            Part::Namespace => &mut identifier.namespace,
            _ => return,
        };
        *field = scalar.value.to_string();
    }
}

fn is_list(identifier: &ObjectIdentifier) -> bool {
    matches!(identifier.kind.as_str(), "List" | "ResourceList" | "")
}

fn last(objects: &[Object]) -> u32 {
    u32::try_from(objects.len().saturating_sub(1)).unwrap_or(u32::MAX)
}

/// A node is complete: in a mapping, key and value take turns.
fn turn(frames: &mut [Frame], next: Part) {
    if let Some(frame) = frames.last_mut().filter(|frame| frame.is_mapping) {
        frame.next = if frame.at_key { next } else { Part::Other };
        frame.at_key = !frame.at_key;
    }
}

/// The items of a document that is a sequence, and those of `items`, are objects.
fn item(part: Part) -> Part {
    if matches!(part, Part::Document | Part::Items) { Part::Root } else { Part::Other }
}

fn value_part(mapping: Part, key: &Scalar<'_>) -> Part {
    match (mapping, key.value.as_ref()) {
        (Part::Root, "apiVersion") => Part::ApiVersion,
        (Part::Root, "kind") => Part::Kind,
        (Part::Root, "metadata") => Part::Metadata,
        (Part::Root, "items") => Part::Items,
        (Part::Metadata, "name") => Part::Name,
        (Part::Metadata, "namespace") => Part::Namespace,
        _ => Part::Other,
    }
}
