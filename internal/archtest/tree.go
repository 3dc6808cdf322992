package archtest

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Problem is one breach of the policy.
type Problem struct {
	// Where is a file and line, or a package.
	Where string
	// What is wrong, and what to do.
	What string
}

// String returns the problem as a compiler would print it.
func (p Problem) String() string { return p.Where + ": " + p.What }

// Policy checks modules. It is for one goroutine at a time.
type Policy struct {
	set     *token.FileSet
	dir     string
	outside types.ImporterFrom // keeps what it has type-checked
}

// New returns the policy. Packages outside the checked module are looked up
// from dir, a folder of a module that requires them.
func New(dir string) *Policy {
	set := token.NewFileSet()
	return &Policy{set: set, dir: dir, outside: importer.ForCompiler(set, "source", nil).(types.ImporterFrom)}
}

// Check returns every breach in the module that lies in fsys. Purity is judged
// once the imports are right, since impure imports would be type-checked too.
func (p *Policy) Check(fsys fs.FS) ([]Problem, error) {
	t, err := load(fsys, p.set)
	if err != nil {
		return nil, err
	}
	problems := t.checkImports()
	if len(problems) == 0 {
		problems = p.checkPurity(t)
	}
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.What, b.What))
	})
	return slices.Compact(problems), nil // most files are in several builds
}

// tree is the module's source.
type tree struct {
	fsys     fs.FS
	module   string // its import path
	set      *token.FileSet
	packages map[string][]file // by folder from the root
	folders  []string          // the keys of packages, sorted
}

// file is one Go file.
type file struct {
	name   string // its path from the root
	test   bool
	syntax *ast.File
}

// load parses every Go file of the module, nested modules, testdata and hidden
// folders excluded, as the go command does.
func load(fsys fs.FS, set *token.FileSet) (*tree, error) {
	module, err := modulePath(fsys)
	if err != nil {
		return nil, err
	}
	t := &tree{fsys: fsys, module: module, set: set, packages: map[string][]file{}}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skip(fsys, name)
		case path.Ext(name) == ".go" && !ignored(path.Base(name)):
			return t.parse(name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(t.packages) == 0 {
		return nil, errors.New("the module has no Go files")
	}
	for folder := range t.packages { // sorted below
		t.folders = append(t.folders, folder)
	}
	slices.Sort(t.folders)
	return t, nil
}

// modulePath reads the module's path from its go.mod.
func modulePath(fsys fs.FS) (string, error) {
	f, err := fsys.Open("go.mod")
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if module, ok := strings.CutPrefix(lines.Text(), "module "); ok {
			return strings.TrimSpace(module), nil
		}
	}
	return "", errors.Join(lines.Err(), errors.New("go.mod has no module line"))
}

// skip returns fs.SkipDir for folders that are not part of the module.
func skip(fsys fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	if base := path.Base(dir); ignored(base) || base == "testdata" || base == "vendor" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir // a module of its own
	}
	return nil
}

// ignored says whether the go command ignores a file or folder of that name.
func ignored(base string) bool { return base[0] == '.' || base[0] == '_' }

func (t *tree) parse(name string) error {
	source, err := fs.ReadFile(t.fsys, name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(t.set, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("the import policy needs sources that parse: %w", err)
	}
	folder := path.Dir(name)
	t.packages[folder] = append(t.packages[folder], file{name, strings.HasSuffix(name, "_test.go"), syntax})
	return nil
}

// at returns file and line of a node.
func (t *tree) at(n ast.Node) string {
	p := t.set.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// folder returns the folder of an import path of this module.
func (t *tree) folder(importPath string) (string, bool) {
	if importPath == t.module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.module+"/")
}
