package archtest

import (
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

var (
	// explained marks a table that is never written.
	explained = regexp.MustCompile(`//nolint:gochecknoglobals // \S`)
	// unordered marks a loop over a map that gives no order away.
	unordered = regexp.MustCompile(`// (sorted below|order does not matter: \S)`)
)

// scanner looks for what pure code may not do, in one file.
type scanner struct {
	tree     *tree
	pkg      string
	info     *types.Info
	comments map[int]string // by line
	sorted   map[*ast.Ident]bool
	problems []Problem
}

func scan(t *tree, f *ast.File, info *types.Info) []Problem {
	s := &scanner{tree: t, pkg: f.Name.Name, info: info, comments: map[int]string{}, sorted: map[*ast.Ident]bool{}}
	for _, group := range f.Comments {
		for _, c := range group.List {
			s.comments[t.set.Position(c.Pos()).Line] += c.Text
		}
	}
	for _, d := range f.Decls {
		s.declaration(d)
	}
	ast.Inspect(f, s.node)
	return s.problems
}

func (s *scanner) report(n ast.Node, what string) {
	s.problems = append(s.problems, Problem{s.tree.at(n), what})
}

// declaration looks for state outside of values: variables and init.
func (s *scanner) declaration(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.Name == "init" {
			s.report(d, "a pure package has no init")
		}
	case *ast.GenDecl:
		if d.Tok != token.VAR {
			return
		}
		for _, spec := range d.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				if !s.constant(name) {
					s.report(name, "a pure package has no variable "+name.Name+
						": only errors named Err… or err…, and tables that are never written and whose line says why in a //nolint:gochecknoglobals // …")
				}
			}
		}
	}
}

// constant says whether a variable of a package may stand.
func (s *scanner) constant(name *ast.Ident) bool {
	if name.Name == "_" || explained.MatchString(s.comment(name)) {
		return true
	}
	isError := types.AssignableTo(s.info.Defs[name].Type(), types.Universe.Lookup("error").Type())
	return isError && (strings.HasPrefix(name.Name, "Err") || strings.HasPrefix(name.Name, "err"))
}

// comment returns the comment on the line of n.
func (s *scanner) comment(n ast.Node) string {
	return s.comments[s.tree.set.Position(n.Pos()).Line]
}

// node looks at one node, parents before children.
func (s *scanner) node(n ast.Node) bool {
	const channels = "a pure package has no channels"
	switch n := n.(type) {
	case *ast.GoStmt:
		s.report(n, "a pure package starts no goroutine")
	case *ast.ChanType:
		s.report(n, channels)
	case *ast.SendStmt:
		s.report(n, channels)
	case *ast.SelectStmt:
		s.report(n, channels)
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			s.report(n, channels)
		}
	case *ast.CallExpr:
		s.call(n)
	case *ast.RangeStmt:
		s.loop(n)
	case *ast.AssignStmt:
		for _, to := range n.Lhs {
			s.assigned(to)
		}
	case *ast.IncDecStmt:
		s.assigned(n.X)
	case *ast.Ident:
		s.use(n)
	}
	return true
}

// assigned looks for a change to a sibling set, which is an immutable value: one
// whose encoding is known would go on with it as it was.
func (s *scanner) assigned(to ast.Expr) {
	for {
		switch e := ast.Unparen(to).(type) {
		case *ast.IndexExpr:
			to = e.X
		case *ast.StarExpr:
			to = e.X
		case *ast.SelectorExpr:
			if s.isSet(e.X) {
				s.report(e, "a sibling set is not changed outside of package version: make another one")
				return
			}
			to = e.X
		default:
			return
		}
	}
}

// isSet says whether an expression is a version.Siblings, seen from outside.
func (s *scanner) isSet(e ast.Expr) bool {
	t := s.info.TypeOf(e)
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	named, ok := t.(*types.Named)
	return ok && named.Obj().Name() == "Siblings" && named.Obj().Pkg().Name() == "version" && s.pkg != "version"
}

// loop looks for an order that comes from a map.
func (s *scanner) loop(n *ast.RangeStmt) {
	if n.Key == nil && n.Value == nil || !isMap(s.info.TypeOf(n.X)) {
		return
	}
	s.wantUnordered(n, "the loop")
}

func (s *scanner) wantUnordered(n ast.Node, what string) {
	if !unordered.MatchString(s.comment(n)) {
		s.report(n, what+" goes over a map, in an order that changes from run to run: loop over sorted keys, "+
			"or end the line with “// sorted below” or “// order does not matter: …”")
	}
}

// call notes the arguments of slices.Sorted and its like, where the iterators
// of the package maps are welcome.
func (s *scanner) call(n *ast.CallExpr) {
	if pkg, name := s.function(callee(n.Fun)); pkg != "slices" || !strings.HasPrefix(name, "Sorted") || len(n.Args) == 0 {
		return
	}
	if inner, ok := ast.Unparen(n.Args[0]).(*ast.CallExpr); ok {
		s.sorted[callee(inner.Fun)] = true
	}
}

// use looks for functions that a pure package may not use, called or not.
func (s *scanner) use(n *ast.Ident) {
	pkg, name := s.function(n)
	if why := bannedFunc(pkg, name); why != "" {
		s.report(n, "a pure package may not use "+pkg+"."+name+": "+why)
	}
	if pkg == "maps" && slices.Contains([]string{"All", "Keys", "Values"}, name) && !s.sorted[n] {
		s.wantUnordered(n, "maps."+name)
	}
}

// function returns the package and name of the function that an identifier
// stands for; methods and all else have none.
func (s *scanner) function(n *ast.Ident) (pkg, name string) {
	f, ok := s.info.Uses[n].(*types.Func)
	if !ok || f.Pkg() == nil || f.Signature().Recv() != nil {
		return "", ""
	}
	return f.Pkg().Path(), f.Name()
}

// callee returns the identifier that names a called function, or nil.
func callee(e ast.Expr) *ast.Ident {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return e
	case *ast.SelectorExpr:
		return e.Sel
	case *ast.IndexExpr:
		return callee(e.X)
	case *ast.IndexListExpr:
		return callee(e.X)
	}
	return nil
}

// isMap says whether values of a type are maps, type parameters included.
func isMap(t types.Type) bool {
	if t == nil {
		return false
	}
	switch u := t.Underlying().(type) {
	case *types.Map:
		return true
	case *types.Interface: // of a type parameter; nothing else of it can be ranged over
		for e := range u.EmbeddedTypes() {
			if isMap(e) {
				return true
			}
		}
	case *types.Union:
		for term := range u.Terms() {
			if isMap(term.Type()) {
				return true
			}
		}
	}
	return false
}
