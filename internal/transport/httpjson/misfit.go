package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// misfit says what is wrong with a body in the words of JSON: who has written it
// knows the fields, and not the types that they are decoded into.
func misfit(err error) error {
	bad, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	return fmt.Errorf("%s is %s; %s is allowed", place(bad.Field, bad.Type), given(bad), allowed(bad.Type))
}

// place returns the path of a field as a request has it: of embedded structs Go
// has the names in it too, and none of what stands in lists and maps.
func place(path string, t reflect.Type) string {
	var names []string
	for name := range strings.SplitSeq(path, ".") {
		if first, _ := utf8.DecodeRuneInString(name); !unicode.IsUpper(first) {
			names = append(names, name)
		}
	}
	if path == "" || len(names) == 0 {
		return "it"
	}
	entry := ""
	switch names[len(names)-1] {
	case "versions", "dots", "members", "tokens", "vector", "vector_clock":
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Map {
			entry = "an entry of "
		}
	}
	return entry + strings.Join(names, ".")
}

// given says what stands where something else is allowed.
func given(bad *json.UnmarshalTypeError) string {
	if number, ok := strings.CutPrefix(bad.Value, "number "); ok {
		return "the number " + excerpt(number)
	}
	switch bad.Value {
	case "array", "bool", "number", "object", "string":
		return "of the type " + bad.Value
	}
	return bad.Value // of a Time or Data, as it was given
}

// allowed says what JSON a type is decoded from.
func allowed(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Data]():
		return "a string in base64 with padding"
	case reflect.TypeFor[Time]():
		return `a string of RFC 3339, as in "2006-01-02T15:04:05Z",`
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Uint32:
		return fmt.Sprintf("a whole number of 0 to %d, in digits,", uint32(math.MaxUint32))
	default:
		return fmt.Sprintf("a whole number of 0 to %d, in digits,", uint64(math.MaxUint64))
	}
}
