package archtest

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/types"
	"io"
	"path"
)

// checkPurity holds the code of the pure packages, tests excluded, to the
// rules of scan.go, in the normal build and in the one with seeded bugs.
func (p *Policy) checkPurity(t *tree) []Problem {
	var problems []Problem
	for _, tags := range [][]string{nil, {"simbugs"}} {
		c := &checker{Policy: p, tree: t, tags: tags, done: map[string]*types.Package{}}
		for _, folder := range t.folders {
			if isPure(folder) {
				c.check(folder)
			}
		}
		problems = append(problems, c.problems...)
	}
	return problems
}

// checker type-checks one build of the pure packages.
type checker struct {
	*Policy
	tree     *tree
	tags     []string
	done     map[string]*types.Package
	problems []Problem
}

// Import makes the checker the importer of what it checks.
func (c *checker) Import(importPath string) (*types.Package, error) {
	folder, ours := c.tree.folder(importPath)
	if !ours {
		return c.outside.ImportFrom(importPath, c.dir, 0)
	}
	at, ok := find(folder)
	if !ok || !at.floor.pure {
		return nil, fmt.Errorf("%s is not on a pure floor", folder)
	}
	if p := c.check(folder); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s has no files in this build", folder)
}

// check type-checks a package once and scans it, if it must be pure.
func (c *checker) check(folder string) *types.Package {
	if p, ok := c.done[folder]; ok {
		return p // nil in an import cycle, which the compiler reports
	}
	c.done[folder] = nil
	files := c.files(folder)
	if len(files) == 0 {
		return nil
	}
	info := &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Defs:  map[*ast.Ident]types.Object{},
		Uses:  map[*ast.Ident]types.Object{},
	}
	conf := types.Config{Importer: c, Error: func(err error) {
		c.problems = append(c.problems, Problem{folder, "does not type-check: " + err.Error()})
	}}
	p, _ := conf.Check(path.Join(c.tree.module, folder), c.set, files, info) // Error had them all
	c.done[folder] = p
	if isPure(folder) {
		for _, f := range files {
			c.problems = append(c.problems, scan(c.tree, f, info)...)
		}
	}
	return p
}

// files returns the files of a package that are in this build.
func (c *checker) files(folder string) []*ast.File {
	ctx := build.Default
	ctx.BuildTags = c.tags
	ctx.CgoEnabled = false
	ctx.JoinPath = path.Join
	ctx.OpenFile = func(name string) (io.ReadCloser, error) { return c.tree.fsys.Open(name) }
	var files []*ast.File
	for _, f := range c.tree.packages[folder] {
		if f.test {
			continue
		}
		in, err := ctx.MatchFile(folder, path.Base(f.name))
		if err != nil {
			c.problems = append(c.problems, Problem{f.name, err.Error()})
		}
		if in {
			files = append(files, f.syntax)
		}
	}
	return files
}
