package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// misfit says what is wrong with a body in the words of JSON: who has written it
// knows the fields, and not the types that they are decoded into.
func misfit(err error) error {
	if bad, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s is of the type %s; %s is allowed", place(bad.Field), bad.Value, allowed(bad.Type))
	}
	if bad, ok := errors.AsType[*time.ParseError](err); ok {
		return fmt.Errorf("a time is %q; RFC 3339 is allowed, as in 2006-01-02T15:04:05Z", bad.Value)
	}
	return err
}

// place returns the path of a field as a request has it: of embedded structs Go
// has the names in it too.
func place(path string) string {
	var names []string
	for name := range strings.SplitSeq(path, ".") {
		if first, _ := utf8.DecodeRuneInString(name); !unicode.IsUpper(first) {
			names = append(names, name)
		}
	}
	if path == "" || len(names) == 0 {
		return "it"
	}
	return strings.Join(names, ".")
}

// allowed says what JSON a type is decoded from.
func allowed(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a string in base64"
		}
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "a whole number from 0 on"
	}
}
