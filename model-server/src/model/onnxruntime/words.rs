//! What the library says of an error, without the places in its own source.

/// The cause, as the library words it.
pub(super) fn plain(text: &str) -> String {
    let mut rest = text.trim();
    let mut told = String::new();
    // Of each place, its file and its function go, and what is said of it stays.
    while let Some(start) = rest.find(SOURCES) {
        told.push_str(&rest[..start]);
        rest = behind_function(&rest[start..]);
    }
    told.push_str(rest);
    told = without_short_places(&told);
    for prefix in ["Exception during initialization: ", "[ONNXRuntimeError] : 1 : FAIL : "] {
        told = told.replace(prefix, "");
    }
    // The caller names the file.
    if let Some((_, cause)) = told.split_once(" failed:").filter(|(of, _)| of.starts_with("Load model from "))
    {
        told = cause.to_owned();
    }
    if told == NOT_PROTOBUF {
        "expected ONNX, found something else: it is not protobuf".clone_into(&mut told);
    }
    told.trim().to_owned()
}

/// Leaves out places without a folder: `FILE:LINE FUNCTION`.
fn without_short_places(text: &str) -> String {
    let mut words = text.split(' ');
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        let place = word.rsplit_once(".cc:").is_some_and(|(_, line)| line.parse::<u32>().is_ok());
        if place {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// What follows a place: `FILE:LINE TYPE FUNCTION(PARAMETERS)`, perhaps `const`.
fn behind_function(place: &str) -> &str {
    let mut depth = 0_usize;
    for (at, character) in place.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 1 => {
                let rest = place[at + 1..].trim_start();
                return rest.strip_prefix("const ").unwrap_or(rest);
            }
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    // No function: the file and the line go alone.
    place.split_once(' ').map_or("", |(_, rest)| rest)
}

/// Where the library was built.
const SOURCES: &str = "/onnxruntime_src/";
const NOT_PROTOBUF: &str = "Protobuf parsing failed.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_librarys_source_are_left_out() {
        for (text, expected) in [
            (
                "Load model from a.onnx failed:/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model(\
                 onnx::ModelProto&&, const std::function<void(int)>&) Unsupported model IR version: 99, max supported IR version: 14",
                "Unsupported model IR version: 99, max supported IR version: 14",
            ),
            (
                "Exception during initialization: /onnxruntime_src/onnxruntime/core/optimizer/initializer.cc:51 \
                 onnxruntime::Initializer::Initializer(const onnx::TensorProto&) [ONNXRuntimeError] : 1 : FAIL : \
                 External initializer: w size to read: 16 given file_length: 4",
                "External initializer: w size to read: 16 given file_length: 4",
            ),
            (
                "Non-zero status code returned while running Add node. Name:'Add.1' Status Message: \
                 /onnxruntime_src/core/framework/op_kernel.cc:87 virtual OrtValue* onnxruntime::OpKernelContext::OutputMLValue(int) \
                 const Shape mismatch",
                "Non-zero status code returned while running Add node. Name:'Add.1' Status Message: Shape mismatch",
            ),
            (
                "Name:'y' Status Message: element_wise_ops.cc:703 Compute Integer division by zero",
                "Name:'y' Status Message: Integer division by zero",
            ),
            (
                "Load model from b.onnx failed:Protobuf parsing failed.",
                "expected ONNX, found something else: it is not protobuf",
            ),
            ("/onnxruntime_src/a.cc:1 cut off", "cut off"),
            ("/onnxruntime_src/", ""),
            ("", ""),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }
}
