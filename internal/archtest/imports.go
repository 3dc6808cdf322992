package archtest

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// checkImports holds all packages to the floors.
func (t *tree) checkImports() []Problem {
	var problems []Problem
	for _, folder := range t.folders {
		if _, ok := find(folder); !ok {
			problems = append(problems, Problem{folder, "the package stands on no floor: " +
				"add it to floors() in internal/archtest/floors.go, on the lowest floor that is above all that it imports"})
			continue
		}
		for _, f := range t.packages[folder] {
			problems = append(problems, t.checkFile(folder, f)...)
		}
	}
	return problems
}

// checkFile holds the imports of one file to the floors.
func (t *tree) checkFile(folder string, f file) []Problem {
	var problems []Problem
	for _, spec := range f.syntax.Imports {
		imported := importPath(spec)
		target, ours := t.folder(imported)
		what := ""
		switch {
		case ours:
			what = forbidden(folder, target, f.test)
		case !f.test && isPure(folder):
			what = impure(imported)
		}
		if what != "" {
			problems = append(problems, Problem{t.at(spec), what})
		}
	}
	return problems
}

// forbidden says why one package of this module may not import another, or
// nothing.
func forbidden(from, to string, test bool) string {
	if from == to {
		return "" // an external test of the package itself
	}
	for _, r := range restricted() {
		if covers(r.of, to) && !covers(r.of, from) && (r.tests || !test) && !coveredByAny(r.by, from) {
			return from + " may not import " + to + ", which is for " + allowed(r.by)
		}
	}
	if test {
		return "" // a test may look upward
	}
	if only, ok := imports()[from]; ok && !slices.Contains(only, to) {
		return from + " may not import " + to + ": of this module it imports " + strings.Join(only, ", ") + " only"
	}
	source, ok := find(from)
	target, found := find(to)
	switch {
	case !ok || !found: // reported where that package is
		return ""
	case target.index > source.index:
		return from + " on floor " + source.floor.name + " may not import " + to + " on floor " + target.floor.name +
			": imports go downward"
	case target.index == source.index && !sameFamily(source, target):
		return from + " may not import " + to + ": both stand on floor " + source.floor.name
	}
	return ""
}

func sameFamily(a, b place) bool {
	return a.pattern == b.pattern && strings.HasSuffix(a.pattern, "/...")
}

func allowed(by []string) string {
	if len(by) == 0 {
		return "tests only"
	}
	return strings.Join(by, ", ") + " only"
}

// impure says why a pure package may not import a package from outside the
// module, or nothing.
func impure(imported string) string {
	for _, b := range bannedImports() {
		if covers(b.path+"/...", imported) {
			return "a pure package may not import " + imported + ": " + b.why
		}
	}
	first, _, _ := strings.Cut(imported, "/")
	if strings.Contains(first, ".") && !slices.Contains(libraries(), imported) {
		return "a pure package may not import the library " + imported + ": of libraries it imports " +
			strings.Join(libraries(), ", ") + " only"
	}
	return ""
}

// importPath returns what an import imports. The parser has checked that it
// is a string.
func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		panic("archtest: the parser let through the import " + spec.Path.Value)
	}
	return p
}
