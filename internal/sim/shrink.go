package sim

// Shrink returns a failing plan with fewer faults that still fails: it leaves
// out halves, quarters and so on of the faults for as long as fails says yes,
// and tries at most a number of plans. Every plan that it tries is run anew,
// so the report to show is that of the plan it returns.
func Shrink(plan *Plan, tries int, fails func(*Plan) bool) *Plan {
	for size := (len(plan.Faults) + 1) / 2; size > 0; {
		smaller := false
		for from := 0; from < len(plan.Faults) && tries > 0; {
			tries--
			next := plan.Without(func(i int) bool { return i >= from && i < from+size })
			if fails(next) {
				plan, smaller = next, true // what followed is at from now
			} else {
				from += size
			}
		}
		switch {
		case tries == 0:
			return plan
		case size > 1:
			size = (size + 1) / 2
		case !smaller:
			return plan
		}
	}
	return plan
}
