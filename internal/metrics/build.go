package metrics

import "runtime/debug"

// module is what the program is made of, or is.
const module = "github.com/dynamo-kv/dynamo"

// Build says what program the node is.
type Build struct {
	Version  string // of this module
	Revision string // of the source; empty where the build does not know
	Go       string // version
}

// ReadBuild returns what is known of this program.
func ReadBuild() Build {
	b := Build{Version: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Go = info.GoVersion
	if info.Main.Path == module {
		if info.Main.Version != "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
		return b
	}
	for _, d := range info.Deps { // embedded in another program
		if d.Path == module {
			b.Version = d.Version
		}
	}
	return b
}

func buildFamilies() []family {
	return []family{
		gauges("build_info", "1, with what program this node is.",
			[]string{"version", "revision", "goversion"}, func(r *Reading, show show) {
				show(1, r.Build.Version, r.Build.Revision, r.Build.Go)
			}),
	}
}
