"""The same solver on a virtual clock: scenarios replayed, made up and broken, in milliseconds each.

recording         what attempts at a problem gave and took: recorded runs, our own journals, or drawn from a model
engine            plays them: attempts slow each other down, and faults strike at given times
run               one scenario, from problems to solutions and a trace that its seed fixes
random_scenarios  each fixed by its seed, with whatever goes wrong
invariants        what has to hold after any scenario
story             a problem as it was answered, beside what the journal tells of it
stress            many random scenarios, each checked
faulty            random competitions: loads, attempts and processes that fail
competition       plays them at the boundary, on a real clock, and checks its promise
policy            ways to stop and to share time, by name
replicates        the same scenarios for every policy, drawn from recorded runs
pools             what they are drawn from: the recorded runs, their mixture, under a share of time
comparison        policies side by side, with paired bootstrap intervals
"""
