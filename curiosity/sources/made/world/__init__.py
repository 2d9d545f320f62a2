"""One simulated world in nine modalities: a gripper pushes, grasps, lifts, pokes, slides, drops or turns an object.

``factors`` says what an episode is, ``plan`` how the gripper moves, ``scene`` and ``physics`` simulate it, ``render``,
``sensors``, ``sound`` and ``sentence`` record it, ``make`` writes the pair set. EMG and sound are synthesised.
"""
